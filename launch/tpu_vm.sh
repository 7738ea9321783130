#!/usr/bin/env bash
# One run on all machines of a Cloud TPU slice:
#
#   launch/tpu_vm.sh my-tpu us-central2-b /mnt/runs/breakout --env=Breakout --num_envs=1024
#
# Copies the package, as it was last committed, to every machine, installs it there, and starts the same
# command on each. The processes find each other by themselves. The folder of the run must be on a disk
# that all of them see, such as a mounted Filestore volume. Training continues after this script ends;
# its output is in jaxdqn.log on each machine. To save and stop it:
#
#   gcloud compute tpus tpu-vm ssh my-tpu --zone=us-central2-b --worker=all \
#     --command='pkill -TERM -f jaxdqn.train'
#
# With $DRY_RUN set, it only prints the commands.
set -euo pipefail

if (($# < 3)); then
  echo "usage: $0 TPU ZONE RUN_DIR [flags of jaxdqn.train]" >&2
  exit 2
fi
tpu=$1 zone=$2 run_dir=$3
shift 3
cd "$(dirname "$0")/.."

run() {
  if [[ -n ${DRY_RUN:-} ]]; then
    printf '%q ' "$@"
    echo
  else
    "$@"
  fi
}

on_all() { # a command on every machine of the slice
  run gcloud compute tpus tpu-vm ssh "$tpu" --zone="$zone" --worker=all --command="$1"
}

changed=$(git status --porcelain -- jaxdqn pyproject.toml)
if [[ -n $changed ]]; then
  echo "error: only what is committed is copied; commit or stash these changes first:" >&2
  echo "$changed" >&2
  [[ -n ${DRY_RUN:-} ]] || exit 1
fi
archive=$(mktemp --suffix=.tar.gz)
trap 'rm -f "$archive"' EXIT
run git archive --format=tar.gz --output="$archive" HEAD
run gcloud compute tpus tpu-vm scp "$archive" "$tpu:jaxdqn.tar.gz" --zone="$zone" --worker=all
# The machines' own Python may be too old; uv brings one.
on_all 'mkdir -p jaxdqn && tar -xzf jaxdqn.tar.gz -C jaxdqn && cd jaxdqn &&
  python3 -m pip install --quiet --user uv && python3 -m uv venv --quiet --python 3.12 --clear .venv &&
  python3 -m uv pip install --quiet --python .venv/bin/python ".[tpu]"'
printf -v flags '%q ' "$@" "--run_dir=$run_dir"
# Not '&&': a shell that waits for both would keep the connection open until training ends.
on_all "cd jaxdqn || exit 1; nohup .venv/bin/python -m jaxdqn.train $flags > ../jaxdqn.log 2>&1 < /dev/null &"
