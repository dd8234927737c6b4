"""What a bundle's files must be before any library is given them.

Each check takes the bytes that were hashed, reads no file, runs nothing that they name, and
raises a BundleError with the reason alone; the bundle adds which file it is. Work and memory
are bounded by the limits in the modules, whatever lengths a file states.
"""
