"""Operations derived by hand: forward, backward and composed, one file each. See README.md."""
