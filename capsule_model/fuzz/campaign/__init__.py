"""Bulk campaigns: programs in rounds of shards, whoever performs them, and what is learnt and found."""
