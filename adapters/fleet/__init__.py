"""Speech servers in processes of their own: how they and the gateway speak with each other."""
