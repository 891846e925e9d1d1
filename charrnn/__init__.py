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

import lazy_loader

__version__ = "0.1.0"

# The public names and the modules they live in are written once, in __init__.pyi beside this file.
__getattr__, __dir__, _names = lazy_loader.attach_stub(__name__, __file__)
__all__ = [*_names, "__version__"]
