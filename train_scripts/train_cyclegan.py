"""Train a CycleGAN that puts face masks on and takes them off.

    accelerate launch train_scripts/train_cyclegan.py --unmasked faces/unmasked --masked faces/masked --output runs/a
    accelerate launch train_scripts/train_cyclegan.py --recipe train_scripts/recipes/cyclegan-smoke.yaml ... # minutes
    torchrun --nproc_per_node 2 train_scripts/train_cyclegan.py ...                          # several GPUs
    ACCELERATE_USE_CPU=true torchrun --nproc_per_node 2 train_scripts/train_cyclegan.py ...  # or CPU processes

A source is a folder of photos or a Hub dataset (user/dataset[:split][@revision][#column]), streamed. You can
stop it at any time: the same command with --resume latest continues from the last checkpoint.
"""

from maskhub.training.cyclegan import CycleGAN
from maskhub.training.launch import launch

if __name__ == "__main__":
    launch(CycleGAN, __doc__)
