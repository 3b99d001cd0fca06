"""`python leash.py COMMAND …` becomes that command, which is sent SIGTERM once the bench is gone, even by SIGKILL.

Between fork and exec (`preexec_fn`) the same would take away Popen's vfork and swallow a Ctrl-C that comes just then.
"""

import ctypes
import os
import signal
import sys

_PARENT_DEATH_SIGNAL = 1  # prctl's PR_SET_PDEATHSIG

if __name__ == "__main__":
    ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    os.execvp(sys.argv[1], sys.argv[1:])
