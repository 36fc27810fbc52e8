"""The smallest file of expectations."""

HASH = "0123456789abcdef"

HEAD = """
format = 1
implementation = "demo"
"""
ENTRY = f"""
[[divergence]]
class = "differs"
versions = ["7.3"]
outcome = "failed"
reason = "It does so."
link = "https://example.org/why"
[divergence.vectors]
"a.one" = "{HASH}"
"""
