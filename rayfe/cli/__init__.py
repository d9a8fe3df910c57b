"""Words to configuration: the jobs' command lines and the commands of `python -m rayfe`."""
