#!/bin/bash
# Train the documents' methods, two small ones and the bundled DCGANs side by side on one GPU, in about nine minutes.
#
#   bash train_scripts/gpu/methods.sh DATA RUNS [MINUTES] [MORE OPTIONS OF EVERY RUN]
#
# DATA is what unpack.py made. Each run has its own folder in RUNS, with its output in RUNS/NAME.log.
set -u
data=$1 runs=$2 minutes=${3:-8}
shift $(($# < 3 ? $# : 3))
more=("$@")
here=$(dirname "$0")/..
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
mkdir -p "$runs"

# Soft photos (FairFace) would teach the discriminators softness.
mkdir -p "$data/sharp"
for photo in "$data"/unmasked/*.bmp; do
    case $photo in *fftrain* | *~*) ;; *) ln -f "$photo" "$data/sharp/" ;; esac
done

train() { # NAME MINUTES SCRIPT RECIPE OPTIONS...
    name=$1 length=$2 script=$3 recipe=$4
    shift 4
    python3 "$here/train_$script.py" --recipe "$here/recipes/$recipe.yaml" --output "$runs/$name" --max-minutes "$length" \
        --checkpoint-every 1000000 --sample-every 0 --log-every 50 --seed 1 "$@" "${more[@]}" > "$runs/$name.log" 2>&1
}
share() { awk "BEGIN { print $minutes * $1 }"; }
graph=(--pool-size 0 --cuda-graph)
both=(--unmasked "$data/sharp" --masked "$data/masked")
worn=(--unmasked "$data/unmasked" --masked "$data/masked")
gan=(--resolution 128 --mixed-precision no --channels-last --ema-decay 0.999)
long=(--lr-schedule linear --max-steps 1000000)

# the documents' methods, at 128 pixels
train cyclegan "$minutes" cyclegan cyclegan-paper "${both[@]}" "${gan[@]}" "${long[@]}" "${graph[@]}" \
    --batch-size 4 --workers 2 &
train attentiongan "$minutes" attentiongan paper-5-one-sided "${worn[@]}" "${gan[@]}" "${long[@]}" \
    "${graph[@]}" --epochs 0 --limit-photos 0 --batch-size 8 --workers 3 &
train simgan "$minutes" simgan simgan "${worn[@]}" --mixed-precision no --batch-size 16 --max-steps 1000000 \
    --ema-decay 0.999 --pretrain-generator 500 --pretrain-discriminator 100 --workers 2 &
# small ones
train cyclegan-small "$minutes" cyclegan cyclegan-paper "${both[@]}" "${gan[@]}" "${long[@]}" "${graph[@]}" \
    --batch-size 4 --generator-width 24 --blocks 6 --upsampling resize --workers 2 &
pix2pix=(--unmasked "$data/unmasked" --resolution 128 --depth 7 --epochs 0 --limit-photos 0 --max-steps 1000000 \
    --ema-decay 0.999 --cuda-graph --mixed-precision no --workers 3)
{
    train pix2pix-small "$(share 0.4)" pix2pix paper-2-table-1-row-1 "${pix2pix[@]}" --generator-width 12
    train pix2pix "$(share 0.5)" pix2pix paper-2-table-1-row-1 "${pix2pix[@]}" --generator-width 32
} &
# small faces for re-imaging
dcgan=(--source "$data/sharp" --latent 64 --batch-size 64 --real-label 0.9 --lr-schedule linear --name photos \
    --mixed-precision no --cuda-graph --workers 0)
{
    train dcgan-64 "$(share 0.3)" reimaging paper-3-dcgan "${dcgan[@]}" --width 32 --max-steps 15000
    train dcgan-128 "$(share 0.3)" reimaging paper-3-dcgan "${dcgan[@]}" --width 24 --resolution 128 --max-steps 15000
} &
wait
