"""Training of the networks with Lightning.

recipe.py     every choice that changes the weights, with `--set NAME=VALUE`
draws.py      which items each step sees: a function of the seed and the step alone
losses.py     what is learnt
checks.py     what is measured on validation data, and the score that chooses a checkpoint
run.py        one run in one folder: checkpoints, log, resuming, devices
edge.py       our training, of the landmark network and of the finder
head.py       the last layers alone, on what the rest of a trained network sees
narrow.py     a trained network with fewer hidden channels, taught by the whole one
paper.py      the paper's training (`--preset paper`)
throughput.py images per second against the loop that the paper describes
ablate.py     the same training with one thing changed at a time
"""
