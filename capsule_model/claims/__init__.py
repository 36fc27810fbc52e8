"""What texts say of capsules and DLPack, held against interpreters: `specs/claims.md` and what proves it."""
