"""Images moved onto others."""
