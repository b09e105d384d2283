"""What other APIs' Python clients do with our server, as a program of their own environment.

`python scenes.py URL [CLIENT ...]` plays every scene of each client that is installed here, and
prints a line of JSON for each: `client`, `scene`, `got`, or `error` and its kind.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import BaseModel

WORDS = "[[words 3]]"
# No model is named so, which is an error before the answer.
WRONG = "no-such-model"
VALUE = '[[tool StructuredOutput {"a": 5}]]'


class Value(BaseModel):
    a: int


Scenes = dict[str, Callable[[], Any]]


def asked(question: str) -> list[Any]:
    return [{"role": "user", "content": question}]


def openai(url: str) -> Scenes:
    from openai import OpenAI

    client = OpenAI(base_url=f"{url}/v1", api_key="any")
    chat, responses = client.chat.completions, client.responses

    def stream() -> list[str]:
        with chat.stream(model="cowork", messages=asked(WORDS)) as events:
            deltas = [each.delta for each in events if each.type == "content.delta"]
            final = events.get_final_completion().choices[0].message.content
        return [*deltas, final or ""]

    def resumed() -> list[Any]:
        name, seen = "", -1
        for event in responses.create(model="cowork", input=WORDS, stream=True):
            name = getattr(getattr(event, "response", None), "id", name)
            if event.type == "response.output_text.delta":
                seen = event.sequence_number
                break
        rest = responses.retrieve(name, stream=True, starting_after=seen)
        return [e.delta for e in rest if e.type == "response.output_text.delta"]

    def parsed() -> Any:
        given = chat.parse(model="cowork", messages=asked(VALUE), response_format=Value)
        return given.choices[0].message.parsed

    return {
        "text": lambda: (
            chat.create(model="cowork", messages=asked(WORDS)).choices[0].message.content
        ),
        "stream": stream,
        "structured": parsed,
        "error": lambda: chat.create(model=WRONG, messages=asked(WORDS)),
        "models": lambda: [each.id for each in client.models.list()],
        "response": lambda: responses.create(model="cowork", input=WORDS).output_text,
        "response structured": lambda: (
            responses.parse(model="cowork", input=VALUE, text_format=Value).output_parsed
        ),
        "response resumed": resumed,
        "response error": lambda: responses.create(model=WRONG, input=WORDS),
    }


def anthropic(url: str) -> Scenes:
    from anthropic import Anthropic

    client = Anthropic(base_url=url, api_key="any")
    messages, given = client.messages, {"model": "cowork", "max_tokens": 64}

    def stream() -> list[str]:
        with messages.stream(**given, messages=asked(WORDS)) as events:
            texts = list(events.text_stream)
            usage = events.get_final_message().usage
        return [*texts, f"{usage.output_tokens > 0}"]

    return {
        "text": lambda: messages.create(**given, messages=asked(WORDS)).content[0].text,
        "stream": stream,
        "structured": lambda: (
            messages.parse(**given, messages=asked(VALUE), output_format=Value).parsed_output
        ),
        "error": lambda: messages.create(model=WRONG, max_tokens=9, messages=asked(WORDS)),
        "models": lambda: [each.id for each in client.models.list()],
        "tokens": lambda: messages.count_tokens(model="x", messages=asked("a" * 35)).input_tokens,
    }


def langchain_openai(url: str) -> Scenes:
    from langchain_openai import ChatOpenAI

    return _langchain(lambda name: ChatOpenAI(model=name, base_url=f"{url}/v1", api_key="any"))


def langchain_anthropic(url: str) -> Scenes:
    from langchain_anthropic import ChatAnthropic

    return _langchain(lambda name: ChatAnthropic(model_name=name, base_url=url, api_key="any"))


def _langchain(made: Callable[[str], Any]) -> Scenes:
    model = made("cowork")
    return {
        "text": lambda: model.invoke(WORDS).text,
        "stream": lambda: [each.text for each in model.stream(WORDS) if each.text],
        "structured": lambda: model.with_structured_output(Value).invoke(VALUE),
        "error": lambda: made(WRONG).invoke(WORDS),
    }


def pydantic_ai(url: str) -> Scenes:
    from pydantic_ai import Agent
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.anthropic import AnthropicProvider
    from pydantic_ai.providers.openai import OpenAIProvider

    provider = OpenAIProvider(base_url=f"{url}/v1", api_key="any")
    model, wrong = (OpenAIChatModel(name, provider=provider) for name in ("cowork", WRONG))
    other = AnthropicModel("cowork", provider=AnthropicProvider(base_url=url, api_key="any"))

    def stream() -> list[str]:
        import asyncio

        async def read() -> list[str]:
            async with Agent(model).run_stream(WORDS) as result:
                return [each async for each in result.stream_text(delta=True)]

        return asyncio.run(read())

    return {
        "text": lambda: Agent(model).run_sync(WORDS).output,
        "stream": stream,
        "structured": lambda: Agent(model, output_type=Value).run_sync(VALUE).output,
        "error": lambda: Agent(wrong).run_sync(WORDS),
        "message": lambda: Agent(other).run_sync(WORDS).output,
        "message structured": lambda: Agent(other, output_type=Value).run_sync(VALUE).output,
    }


def llm(url: str) -> Scenes:
    from llm.default_plugins.openai_models import Chat

    model, wrong = (Chat(name, model_name=name, api_base=f"{url}/v1") for name in ("cowork", WRONG))
    model.key = wrong.key = "any"
    return {
        "text": lambda: model.prompt(WORDS, stream=False).text(),
        "stream": lambda: list(model.prompt(WORDS)),
        "error": lambda: wrong.prompt(WORDS, stream=False).text(),
    }


def litellm(url: str) -> Scenes:
    import litellm

    given = {"model": "openai/cowork", "api_base": f"{url}/v1", "api_key": "any"}

    def stream() -> list[str]:
        chunks = litellm.completion(**given, messages=asked(WORDS), stream=True)
        return [each.choices[0].delta.content or "" for each in chunks]

    return {
        "text": lambda: (
            litellm.completion(**given, messages=asked(WORDS)).choices[0].message.content
        ),
        "stream": stream,
        "structured": lambda: Value.model_validate_json(
            litellm.completion(**given, messages=asked(VALUE), response_format=Value)
            .choices[0]
            .message.content
        ),
        "error": lambda: litellm.completion(
            **{**given, "model": f"openai/{WRONG}"}, messages=asked(WORDS)
        ),
    }


def instructor(url: str) -> Scenes:
    import instructor
    from openai import OpenAI

    client = instructor.from_openai(OpenAI(base_url=f"{url}/v1", api_key="any"))
    return {
        "structured": lambda: client.chat.completions.create(
            model="cowork", response_model=Value, messages=asked(VALUE)
        ),
        "error": lambda: client.chat.completions.create(
            model=WRONG, response_model=Value, messages=asked(WORDS), max_retries=1
        ),
    }


CLIENTS: dict[str, Callable[[str], Scenes]] = {
    "openai": openai,
    "anthropic": anthropic,
    "langchain_openai": langchain_openai,
    "langchain_anthropic": langchain_anthropic,
    "pydantic_ai": pydantic_ai,
    "llm": llm,
    "litellm": litellm,
    "instructor": instructor,
}


def told(value: Any) -> Any:
    return value.model_dump() if isinstance(value, BaseModel) else value


def played(url: str, names: list[str]) -> Iterator[dict[str, Any]]:
    for name in names:
        for scene, play in CLIENTS[name](url).items():
            facts = {"client": name, "scene": scene}
            try:
                yield {**facts, "got": told(play())}
            except Exception as fault:
                yield {**facts, "error": type(fault).__name__, "said": str(fault)[:500]}


def is_installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


if __name__ == "__main__":
    url, *wanted = sys.argv[1:]
    for line in played(url, wanted or [each for each in CLIENTS if is_installed(each)]):
        print(json.dumps(line, default=str), flush=True)
