"""Starts the fake `claude`.

Kept to this, since Python compiles the file it is started with anew each time; the rest, in
`stage`, is compiled once.  Started with `-S -E` by the wrapper that `install` writes, so that
nothing but the standard library is there and the start takes some 20 ms.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .stage.program import main
else:  # Run as a script: this folder is sys.path[0].
    from stage.program import main

if __name__ == "__main__":
    main()
