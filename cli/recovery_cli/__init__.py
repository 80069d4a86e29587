"""The `recovery` command: policies, what-if questions and streams of requests, from the shell."""
