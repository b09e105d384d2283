"""The AI SDK's UI message stream, which `useChat` reads (ai 5 and 6)."""
