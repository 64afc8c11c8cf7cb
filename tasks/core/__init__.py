"""What every package needs: errors, records, settings, storage, locks, versions."""
