"""Witnesses of logs, by C2SP tlog-witness: being one, and asking others."""
