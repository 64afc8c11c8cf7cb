"""Arrays of files, made into images and classes: whatever their axes, types and forms."""
