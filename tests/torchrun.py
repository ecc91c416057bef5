"""torchrun as on a machine called localhost: it looks its name up, which tests may not do."""

import socket

from torch.distributed import run

if __name__ == "__main__":
    socket.gethostname = lambda: "localhost"
    run.main()
