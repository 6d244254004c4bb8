"""OpenAI's own integrations beside ours in one environment: both go on working."""

from __future__ import annotations

import os

from langchain_openai import ChatOpenAI
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai import OpenAI

from langchain_lunos import ChatLunos
from llama_index_lunos import Lunos


def main() -> None:
    url, key = os.environ["LUNOS_BASE_URL"], os.environ["LUNOS_API_KEY"]
    theirs = ChatOpenAI(model="lunos/scripted", base_url=url, api_key=key)
    ours = ChatLunos(model="lunos/scripted")
    assert theirs.invoke("Hello").text == ours.invoke("Hello").text
    # OpenAI's class looks the model up in a table of its own, so it is given a name from there
    OpenAI(model="gpt-4o", api_base=url, api_key=key)
    assert "Hello" in str(Lunos("lunos/scripted").chat([ChatMessage("Hello")]))
    print("beside: langchain-openai and llama-index-llms-openai")


if __name__ == "__main__":
    main()
