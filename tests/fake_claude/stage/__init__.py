"""The fake `claude`: reads questions, plays the scenes of `../scenes`.

`program` reads argv and starts, `process` is the resident process, `turn` plays one turn,
`mishaps` are the scenes that the real CLI plays only when something breaks.

Written without dataclasses, pathlib, typing, subprocess, uuid and socket: each of them costs 5 to
20 ms at a start that takes 20.
"""
