"""Ask a question and show what is done for it: python ask.py "list the files"."""

import os
import sys

from cowork.client import Client, CoworkError, Token, ToolUse

url, key = os.environ.get("COWORK_URL", "http://localhost:5002"), os.environ.get("COWORK_KEY")
try:
    with Client(url, key) as client:
        for event in client.stream(sys.argv[1], project="example", events=["tool"]):
            if isinstance(event, Token):
                print(event.text, end="", flush=True)
            elif isinstance(event, ToolUse):
                print(f"\n[{event.name}]", file=sys.stderr)
    print()
except CoworkError as error:
    sys.exit(f"{error.code}: {error}")
