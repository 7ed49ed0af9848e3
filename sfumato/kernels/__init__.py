"""The engine room: one folder per processor, each a plain module with the functions of `stages.Backend`."""
