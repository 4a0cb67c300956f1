"""Operations derived by hand: forward, backward and reference, one file each. See README.md."""
