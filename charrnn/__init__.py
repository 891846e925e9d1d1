"""Train character-level recurrent language models on any text, and write new text with them.

    import charrnn

    result = charrnn.train(
        "novel.txt",
        model=charrnn.ModelConfig(cell="gru", hidden_size=128),
        training=charrnn.TrainingConfig(minutes=5),
    )
    print(f"{result.end.best_loss:.3f} nats per character")

    model = charrnn.load(result.folder)
    for piece in model.sample("Once", charrnn.SamplingConfig(length=200, temperature=0.7)):
        print(piece, end="")
    print(model.evaluate("Once upon a time").bits_per_char)

Everything here is imported when it is first used: `import charrnn` does not import torch, and
neither does loading a model and sampling from it.
"""

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Find a public name; reached once, since it is replaced by what lazy_loader makes.

    The public names and the modules they live in are written once, in __init__.pyi beside this
    file. It is read only now, because until the command line handles signals, each millisecond is
    one in which Ctrl-C ends in a traceback.
    """
    import lazy_loader

    find, _, names = lazy_loader.attach_stub(__name__, __file__)
    public = [*names, "__version__"]
    globals().update(__getattr__=find, __all__=public)
    return public if name == "__all__" else find(name)


def __dir__() -> list[str]:
    """Return the public names."""
    return list(globals().get("__all__") or __getattr__("__all__"))
