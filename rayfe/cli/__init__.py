"""Words to configuration: the jobs' command lines and the commands of `python -m rayfe`."""

import logging

logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it has lines of its own to say where the home folder is closed
