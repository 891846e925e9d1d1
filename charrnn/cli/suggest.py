"""What somebody probably meant by a flag, a setting or a command that does not exist."""

from collections.abc import Collection, Mapping

# What other programs call the flags, or people think of first, without the dashes before them.
_SYNONYMS: Mapping[str, str] = {
    "batch-size": "batch batchsize bs lanes minibatch",
    "cell": "arch architecture cell-type model model-type rnn rnn-type type",
    "checkpoint": "ckpt step",
    "checkpoint-dir": "checkpoints ckpt-dir model-dir models-dir out-dir output-dir save-dir",
    "device": "cuda gpu use-cuda use-gpu",
    "dynamic-lr": "learning-rate lr",
    "dropout": "drop drop-prob drop-rate dropout-prob dropout-rate",
    "embedding-size": "emb-dim emb-size embed-dim embed-size embedding embedding-dim emsize",
    "epochs": "epoch max-epochs n-epochs num-epochs",
    "eval-every": "eval-interval eval-steps val-every val-interval",
    "grad-clip": "clip clip-grad clip-norm gradient-clip gradient-clipping max-grad-norm",
    "hidden-size": "gru-size hidden hidden-dim hidden-units lstm-size n-hidden nhid rnn-size "
    "size state-size units",
    "init-from": "base-model fine-tune finetune from init load pretrained start-from",
    "learning-rate": "alpha lr max-lr rate step-size",
    "length": "characters chars len max-chars max-length max-new-tokens num-chars num-tokens "
    "tokens",
    "max-seconds": "timeout",
    "min-count": "min-freq min-frequency",
    "minutes": "max-minutes max-time time time-limit",
    "momentum": "nesterov",
    "num-beams": "beam beam-size beam-width beams",
    "num-layers": "depth layer layers n-layer n-layers nlayers num-layer",
    "num-samples": "count n-samples num num-texts number samples",
    "optimizer": "optim optimiser",
    "output": "out out-file outfile output-file",
    "patience": "early-stop early-stopping",
    "plot": "chart figure graph",
    "precision": "amp bf16 bfloat16 dtype fp16 half",
    "prompt": "prefix prime primer seed-text start start-text start-with",
    "prompt-file": "input-file",
    "quiet": "silent",
    "run": "experiment name run-id run-name",
    "sample-every": "sample-interval",
    "save-every": "checkpoint-every save-interval save-steps",
    "schedule": "lr-schedule lr-scheduler scheduler",
    "seed": "random-seed random-state rng-seed",
    "seq-length": "block-size bptt chunk-size context context-length seq-len seqlen "
    "sequence-length unroll",
    "steps": "iter iterations iters max-iter max-iters max-steps n-iter n-steps num-iters "
    "num-steps total-steps",
    "temperature": "temp",
    "threads": "cpus jobs n-jobs n-threads num-threads num-workers workers",
    "tie-embeddings": "tie-weights tied weight-tying",
    "top-k": "k topk",
    "top-p": "nucleus p topp",
    "unknown": "unk",
    "val-fraction": "test-size val-split valid-fraction validation-split",
    "val-text": "val-file valid validation",
    "verbose": "debug",
    "warmup": "warmup-steps",
    "weight-decay": "decay l2 wd weight-decay-rate",
}
# Flags of other programs for what is an argument here.
_ARGUMENTS: Mapping[str, Collection[str]] = {
    "CORPUS": ("corpus", "data", "dataset", "file", "input", "text", "train-file", "train-text"),
    "MODEL": ("load", "model", "name", "run"),
    "TEXT": ("data", "file", "input", "text"),
    "RUN": ("model", "name", "run"),
}
_COMMANDS: Mapping[str, str] = {
    "compare": "curves diff plot",
    "corpora": "corpus data dataset datasets download",
    "eval": "evaluate evaluation perplexity score test validate",
    "info": "describe inspect show status",
    "remove": "clear del delete drop erase rm",
    "rename": "move mv name",
    "resume": "continue restart",
    "runs": "list ls models",
    "sample": "complete generate infer predict write",
    "train": "finetune fine-tune fit learn new start",
}


def near(name: str, known: Collection[str], synonyms: Mapping[str, str]) -> list[str]:
    """Return which known words `name` may mean: by its synonyms, its beginning or its spelling."""
    if meant := [word for word in known if name in synonyms.get(word, "").split()]:
        return meant
    words = {other: word for word in known for other in synonyms.get(word, "").split()}
    words |= {word: word for word in known}
    begun = sorted(word for word in known if word.startswith(name)) if len(name) > 2 else []
    from difflib import get_close_matches  # for a mistake only

    spelt = get_close_matches(name, sorted(words), n=3, cutoff=0.75)
    return begun[:3] or list(dict.fromkeys(words[word] for word in spelt))[:2]


def near_flags(flag: str, known: Collection[str]) -> list[str]:
    """Return the flags that an unknown one was probably meant to be; all with their dashes."""
    bare = {name.lstrip("-") for name in known}
    if not _bare(flag).startswith("no-"):
        bare = {name for name in bare if not name.startswith("no-")}
    return [f"--{name}" for name in near(_bare(flag), bare, _SYNONYMS)]


def near_setting(key: str, known: Collection[str]) -> str | None:
    """Return the setting that a key was probably meant to be, both written like flags."""
    return next(iter(near(_bare(key), known, _SYNONYMS)), None)


def near_commands(name: str, known: Collection[str]) -> list[str]:
    """Return the commands that an unknown one was probably meant to be."""
    return near(name.lower(), known, _COMMANDS)


def meant_argument(flag: str, arguments: Collection[str]) -> str | None:
    """Return the argument that somebody gave as a flag: --data of train is CORPUS."""
    return next((name for name in arguments if _bare(flag) in _ARGUMENTS.get(name, ())), None)


def _bare(flag: str) -> str:
    return flag.lstrip("-").replace("_", "-").lower()
