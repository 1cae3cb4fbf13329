"""What can be measured, by name and in order."""

from sections import footprint, growth, logins, refresh, requests, storm, timing

SECTIONS = {
    "requests": requests,
    "logins": logins,
    "storm": storm,
    "refresh": refresh,
    "growth": growth,
    "footprint": footprint,
    "timing": timing,
}
