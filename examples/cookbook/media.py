"""Images and transcription without a framework.

python examples/cookbook/media.py [FOLDER [SOUND.flac]]
"""

import sys
from pathlib import Path

from lunos_core import Lunos

SOUND = Path(__file__).parents[2] / "tests" / "sounds" / "ferry.flac"


def main(folder: Path, sound: Path) -> None:
    """Save an image to a folder, and print what is said in a sound file."""
    with Lunos(app_id="media") as lunos:
        drawn = lunos.images.generate(
            model="openai/gpt-image-1", prompt="A ferry in the fog", response_format="b64_json"
        )
        for path in drawn.save(folder):
            print(f"{path}: {path.stat().st_size} bytes")
        heard = lunos.audio.transcriptions.create(model="openai/whisper-1", file=sound)
        print(heard.text)


if __name__ == "__main__":
    folder, sound = (
        Path(name) for name in (*sys.argv[1:], *("images", SOUND)[len(sys.argv) - 1 :])
    )
    main(folder, sound)
