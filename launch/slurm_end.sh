# shellcheck shell=bash
# How the jobs of slurm.sbatch and slurm_array.sbatch end.

# Ends the job with the exit code of its run, queued again if the run may go on.
end_job() {
  local code=$1
  case $code in
    0 | 2 | 3 | 130) ;; # complete, wrong settings, not finite, interrupted by its user
    143) _requeue "stopped by SIGTERM and saved" ;;
    *)
      if ((${SLURM_RESTART_COUNT:-0} < 10)); then
        _requeue "failed with exit code $code"
      else
        echo "failed with exit code $code; not queued again after $SLURM_RESTART_COUNT restarts"
      fi
      ;;
  esac
  exit "$code"
}

_requeue() {
  local job=$SLURM_JOB_ID
  # The number alone may mean all jobs of an array.
  [[ -n ${SLURM_ARRAY_TASK_ID:-} ]] && job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
  if scontrol requeue "$job"; then
    echo "$1; queued again"
  else
    echo "$1; not queued again: submit the same command without --overwrite to resume"
  fi
}
