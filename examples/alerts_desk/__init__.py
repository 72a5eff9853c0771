"""An alerts desk: critical alerts that stay until an admin acknowledges them, or go to all admins."""
