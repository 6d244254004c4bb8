"""A chatbot for the terminal that remembers the conversation, also after it was closed.

python examples/cookbook/chatbot.py [conversation.json]
"""

import json
import sys
from pathlib import Path

from langchain_core.messages import (
    HumanMessage,
    SystemMessage,
    messages_from_dict,
    messages_to_dict,
)
from langchain_core.messages.utils import count_tokens_approximately, trim_messages

from langchain_lunos import ChatLunos
from lunos_core import LunosError

RULES = SystemMessage("You are a friendly assistant. Answer briefly.")


def main(file: Path | None) -> None:
    """Talk until Ctrl-D; with a file, go on where the last conversation ended."""
    llm = ChatLunos(model="openai/gpt-4o-mini", app_id="chatbot")
    try:
        memory = messages_from_dict(json.loads(file.read_text())) if file and file.exists() else []
    except (KeyError, TypeError, ValueError):
        sys.exit(f"{file} isn't a conversation of this chatbot: name another file")
    while True:
        try:
            said = HumanMessage(input("> "))
        except EOFError:
            break
        # the oldest messages are left out when the conversation grows long
        asked = trim_messages(
            [RULES, *memory, said],
            max_tokens=4000,
            token_counter=count_tokens_approximately,
            include_system=True,
            start_on="human",
        )
        try:
            answer = None
            for chunk in llm.stream(asked):
                print(chunk.text, end="", flush=True)
                answer = chunk if answer is None else answer + chunk
        except LunosError as error:
            print(f"\n(no answer: {error})")  # the question isn't remembered: ask again
            continue
        print()
        memory += [said, answer]
        if file:
            file.write_text(json.dumps(messages_to_dict(memory)))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else None)
