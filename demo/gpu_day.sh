#!/usr/bin/env bash
# Trains the demo models on a machine with a card, from an archive of the pictures and without a network, and is done
# before a number of seconds is over:
#
#     bash demo/gpu_day.sh PICTURES.zip RUN COMFYUI [SECONDS] [--rehearsal]
#
# PICTURES.zip is what demo/dataset.py writes with --archive, RUN a folder for what comes out of it, COMFYUI a folder of
# ComfyUI, of which only the network classes and the tokenizer are read. First the autoencoder, then the denoiser, which
# has most of the time, then the transformer and the CLIP; each ends at its time of the clock, with a learning rate that
# follows the clock. Packed weights are written every minute and a half and at each end, so that what is cut off leaves
# something. RUN then holds weights.safetensors, transformer_weights.safetensors, clip_weights.safetensors, a sheet of
# pictures of each network and log.txt.
#
# A rehearsal trains small networks on 64 of the pictures, each for a step or a few (SECONDS is 10 then if it is not
# given, else 540), on the CPU if there is no card. RUN must hold no state of a training by steps. PYTHON names another
# interpreter; AUTOENCODER, DENOISER, TRANSFORMER and CLIP hold further options of the trainings (for example
# DENOISER="--noise assigned"), SHARES the percentages of the time at which they end.
set -u
began=$(date +%s)
rehearsal=
positional=()
for argument in "$@"
do
    if [ "$argument" = --rehearsal ]; then rehearsal=yes; else positional+=("$argument"); fi
done
if [ "${#positional[@]}" -lt 3 ]
then
    echo "usage: bash demo/gpu_day.sh PICTURES.zip RUN COMFYUI [SECONDS] [--rehearsal]" >&2
    exit 2
fi
pictures=${positional[0]} run=${positional[1]} comfyui=${positional[2]}
seconds=${positional[3]:-$([ -n "$rehearsal" ] && echo 10 || echo 540)}
python=${PYTHON:-python3}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$run" || exit 1
export PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
start=$run/started  # what is newer is of this day
touch "$start"

if [ -n "$rehearsal" ]
then
    grace=300
    read -r -a ends <<< "${SHARES:-25 55 75 100}"
    few="--batch 8 --pictures 64"
    autoencoder=$few denoiser="$few --previews 2 --architecture tiny" transformer="$few --previews 2" clip=$few
else
    grace=20
    read -r -a ends <<< "${SHARES:-17 80 91 98}"
    autoencoder="--batch 128 --relative 0.02 --colours 0.3"
    denoiser="--batch 1024 --peak 1e-3 --dropout 0.1 --architecture attentive"
    transformer="--batch 1024 --peak 2e-3"
    clip="--batch 512 --tones 0.3 --kinds 0.3"
    command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader
fi
# train PERCENT STATE BATCH SCRIPT OPTIONS...: a training that ends when that share of the time is over. One that failed
# before it saved its STATE in RUN is tried again with that BATCH, which a card with little memory takes; what it has
# saved stays, because trying again would begin anew with less time.
train() {
    local deadline=$((began + seconds * $1 / 100)) state=$run/$2 smaller=$3 code
    shift 3
    train_until "$deadline" "$@" && return
    code=$?
    if [ "$state" -nt "$start" ] || [ "$(date +%s)" -ge "$deadline" ]; then return "$code"; fi
    train_until "$deadline" "$@" --batch "$smaller"
}
train_until() {
    local deadline=$1 code
    local left=$((deadline - $(date +%s)))
    shift
    echo "== $* (for $left s, at $(($(date +%s) - began)) s)"
    timeout -k 5 $((left > 0 ? left + grace : grace)) "$python" "$@" --data "$pictures" --run "$run" --deadline "$deadline"
    code=$?
    [ "$code" = 0 ] || echo "== ended with $code"
    return "$code"
}

# shellcheck disable=SC2086  # options are words
train_all() {
    local failed=0
    "$python" -c "import sys, torch; print(sys.version.split()[0], torch.__version__, torch.cuda.is_available())"
    train "${ends[0]}" autoencoder.pt 32 "$here/train.py" autoencoder --comfyui "$comfyui" $autoencoder \
        ${AUTOENCODER:-} || failed=1
    # An autoencoder that was saved and failed after it, in its last pictures for one, is what the others need.
    if [ "$run/autoencoder.pt" -nt "$start" ]
    then
        train "${ends[1]}" denoiser.pt 128 "$here/train.py" denoiser --comfyui "$comfyui" $denoiser ${DENOISER:-} ||
            failed=1
        train "${ends[2]}" transformer.pt 128 "$here/train_transformer.py" train --comfyui "$comfyui" $transformer \
            ${TRANSFORMER:-} || failed=1
    fi
    train "${ends[3]}" clip.pt 128 "$here/train_clip.py" $clip ${CLIP:-} || failed=1
    ls -l "$run"
    echo "== over after $(($(date +%s) - began)) s, $([ "$failed" = 0 ] && echo complete || echo with failures)"
    return "$failed"
}

train_all 2>&1 | tee "$run/log.txt"
exit "${PIPESTATUS[0]}"
