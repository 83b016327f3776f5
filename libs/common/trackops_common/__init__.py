"""What every TrackOps service shares, each thing once."""
