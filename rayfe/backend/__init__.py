"""Where requests are answered: closed-form surfaces, this process, or a pool of Ray actors."""
