"""From bytes to values: JSON, server-sent events, multipart forms, subtitles."""
