"""What people build on capsules, and what came before them; each module reads as a specification of one pattern."""
