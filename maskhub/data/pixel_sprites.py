"""The hand-drawn parts of pixel faces: rows of letters, each letter a colour.

    .  nothing (leaves what lies below)
    o d s h b   skin: outline, shadow, base, highlight, blush        n N    neck: base, shadow
    D H L       hair: dark, base, light                              k      brow, lash, pupil
    w i         eye: white, iris                                     r R t  lip, its line, teeth
    c C         shirt: base, shadow                                  m M l  covering: shadow, base, light

A sprite is the first row and column of its place on the 32×32 canvas, and its rows. Half sprites are the left half,
columns 0 to 15, of a mirrored whole.
"""

__all__ = ["BACK_HAIR", "BODY", "COVERINGS", "EYES", "HAIR", "HEAD", "MOUTHS", "NOSES"]


def _half(first_row, text):
    rows = [row.ljust(16, ".") for row in text.split()]
    return first_row, 0, tuple(row + row[::-1] for row in rows)


def _at(first_row, first_column, text):
    return first_row, first_column, tuple(text.split())


BODY = _half(
    24,
    """
    ...........onnnn
    ...........oNNNN
    ...........oNNNN
    ...........onNNN
    ........CCConnnn
    .....CCccccConnn
    ....CccccccccCCC
    ...Ccccccccccccc
    """,
)

HEAD = _half(
    4,
    """
    ...........ooooo
    .........oosssss
    ........osssssss
    .......ossssssss
    .......ossssssss
    .......ossssssss
    .......ossssssss
    .......ossssssss
    .......ossssssss
    .......ossssssss
    ......oossssssss
    .....ossssssssss
    .....osdssssssss
    .....oosssssssss
    ......oossssssss
    .......osbbsssss
    .......osbbsssss
    .......ossssssss
    ........osssssss
    ........osssssss
    .........ossssss
    ..........oossss
    ............oooo
    """,
)

EYES = {
    "round": _half(11, "..........kkkk . ..........kkkk ..........wkkw ..........wiiw"),
    "almond": _half(11, "...........kkk ..........k . .........kkkkk ..........wiiw"),
    "sleepy": _half(11, "..........kkkk . . .........dooood .........kkkkkk ..........wiiw"),
    "lashes": _half(10, "...........kkk ..........k . ........k.kkk .........kkkkk ..........wiiw ..........wiiw"),
    "bright": _at(10, 10, "kkkk....kkkk ............ .kk......kk. wiiw....wiiw iwki....iwki ikki....ikki .ii......ii."),
}

NOSES = {
    "button": _at(17, 14, ".hs. dood"),
    "straight": _at(14, 14, ".hd. .hd. .hd. .hd. dhsd .oo."),
    "wide": _at(16, 13, "..hs.. .hhsd. oddddo"),
    "pointed": _at(15, 14, "..d. ..d. .hsd hhsd .ood"),
    "round": _at(16, 13, "..hh.. .hhsd. .bbbb. ..oo.."),
}

MOUTHS = {
    "smile": _at(21, 12, "R......R .RRRRRR. ..rrrr.."),
    "grin": _at(21, 12, "RRRRRRRR RttttttR .RRRRRR."),
    "neutral": _at(22, 12, ".RRRRRR. ..dddd.."),
    "open": _at(21, 13, ".RRRR. RttttR RkrrkR .RRRR."),
    "full": _at(21, 12, "..rrrr.. RRRRRRRR .rrrrrr. ..dddd.."),
}

BACK_HAIR = {
    "long": _half(
        8,
        """
        ....DHHHHHHHHHHH
        ....DHHHHHHHHHHH
        ....DHHHHHHHHHHH
        ....DHHHHHHHHHHH
        ....DHHHHHHHHHHH
        ....DHHHHHHHHHHH
        ....DHHHHHHHHHHH
        ....DHHHHHHHHHHH
        ....DHHHHHHHHHHH
        ....DHHHHHHHHHHH
        ....DHHHHHHHHHHH
        ....DHHHHHHHHHHH
        ....DHHHHHHHHHHH
        ....DHHHHHHHHHHH
        ....DHHHHHHHHHHH
        ....DHHHHHHHHHHH
        ....DHHHHHHHHHHH
        ....DDHHHHHHHHHH
        .....DHHHHHHHHHH
        .....DDHHHHHHHHH
        ......DDDDDDDDDD
        """,
    ),
    "bob": _half(
        8,
        """
        .....DHHHHHHHHHH
        .....DHHHHHHHHHH
        ....DHHHHHHHHHHH
        ....DHHHHHHHHHHH
        ....DHHHHHHHHHHH
        ....DHHHHHHHHHHH
        ....DHHHHHHHHHHH
        ....DHHHHHHHHHHH
        ....DHHHHHHHHHHH
        ....DHHHHHHHHHHH
        ....DHHHHHHHHHHH
        ....DHHHHHHHHHHH
        ....DDHHHHHHHHHH
        .....DDDDDDDDDDD
        """,
    ),
    "bun": _half(0, ".............DDD ............DHLL ............DHHH ............DHHH .............DDD"),
    "curly": _half(
        3,
        """
        .......DDD.DDDDD
        .....DDHHHDHHHHH
        ....DHHHHHHHHHHH
        ...DHHHHHHHHHHHH
        ...DHHHHHHHHHHHH
        ..DHHHHHHHHHHHHH
        ..DHHHHHHHHHHHHH
        ...DHHHHHHHHHHHH
        ..DHHHHHHHHHHHHH
        ..DHHHHHHHHHHHHH
        ...DHHHHHHHHHHHH
        ...DHHHHHHHHHHHH
        ....DHHHHHHHHHHH
        .....DHHHHHHHHHH
        ......DDDDDDDDDD
        """,
    ),
}
"""What hangs behind the head; styles without an entry have none."""

HAIR = {
    "short": _half(
        2,
        """
        ..........DDDDDD
        ........DDHHHHHH
        .......DHHHLLLLL
        ......DHHHLLHHHH
        ......DHHHHHHHHH
        ......DHHHHHHHHH
        ......DHHDDDDDDD
        ......DHD.......
        ......DHD.......
        ......DHD.......
        ......DHD.......
        .......D........
        """,
    ),
    "spiky": _at(
        1,
        0,
        """
        ..........D...DD....D...........
        .........DHD.DHHD..DHD..D.......
        .......D.DHHDHHHHDDHHD.DHD......
        ......DHDHHLLHHHLLHHHHDHHD......
        ......DHHHLLHHHLLHHHHHHHHD......
        .......DHHHHHHHHHHHHHHHHD.......
        ......DHHHHHHHHHHHHHHHHHHD......
        ......DHHDHHDHHHDHHHDHHDHD......
        ......DHD.DD.DHD.DHD.DD.DD......
        ......DHD.....D...D....DHD......
        ......DD................DD......
        """,
    ),
    "fringe": _at(
        2,
        0,
        """
        ..........DDDDDDDDDDDD..........
        ........DDHHHHHHHHHHHHDD........
        .......DHHHHHLLLLHHHHHHHD.......
        ......DHHHLLLLHHHHHHHHHHHD......
        ......DHHHLHHHHHHHHHHHHHHD......
        ......DHHHHHHHHHHHHHHHHHHD......
        ......DHHHHHHHHHHHHHHHHHHD......
        ......DHHHHHHHHHHHDDHHHHHD......
        ......DHHHHHHDHDDD..DDHHHD......
        ......DHDDDDD.D.......DDHD......
        ......DHD..............DHD......
        ......DHD..............DHD......
        .......D................D.......
        """,
    ),
    "bob": _half(
        2,
        """
        ..........DDDDDD
        ........DDHHHHHH
        .......DHHHLLLLL
        ......DHHLLHHHHH
        .....DHHHHHHHHHH
        .....DHHHHHHHHHH
        .....DHHHHHHHHHH
        .....DHHHHDHHHDH
        ....DHHHDDDDDDDD
        ....DHHHD.......
        ....DHHD........
        ....DHHD........
        ....DHHD........
        ....DHHD........
        ....DHHD........
        ....DHHD........
        ....DHHD........
        ....DHHD........
        ....DHHHD.......
        ....DHHHD.......
        .....DDDD.......
        """,
    ),
    "long": _half(
        2,
        """
        ..........DDDDDD
        ........DDHHHHHH
        .......DHHHLLLHD
        ......DHHLLLHHHD
        .....DHHHLHHHHD.
        .....DHHHHHHHD..
        .....DHHHHHDD...
        ....DHHHHHD.....
        ....DHHHHD......
        ....DHHHD.......
        ....DHHD........
        ....DHHD........
        ....DHHD........
        ....DHHD........
        ....DHHD........
        ....DHHD........
        ....DHHD........
        ....DHHD........
        ....DHHD........
        ....DHHHD.......
        ....DHHHD.......
        ....DHHHHD......
        ....DHHHHD......
        ....DDHHHD......
        .....DHHHD......
        .....DDHD.......
        ......DD........
        """,
    ),
    "bun": _half(
        3,
        """
        ..........DDDDDD
        ........DDHHHHHH
        .......DHHHLHHLH
        .......DHHLHHHLH
        ......DHHHHHHDHH
        ......DHHHDHDDDD
        ......DHDD......
        ......DHD.......
        ......DD........
        """,
    ),
    "curly": _half(
        2,
        """
        ..........DDD.DD
        ........DDHHHDHH
        .......DHHLLHHHL
        .....DDHHLHHHHLL
        ....DHHHHHHHHHHH
        ....DHLHHHHDHHHH
        ...DHLHHHHDDHHDH
        ...DHHHHHD..DD..
        ...DHHHHD.......
        ...DHLHHD.......
        ...DHHHD........
        ....DHD.........
        .....D..........
        """,
    ),
    "balding": _half(
        10, "......DD........ ......DHD....... ......DHD....... ......DHD....... ......DHD....... .......D........"
    ),
}

COVERINGS = {
    "mask": _half(
        16,
        """
        .......mm.......
        ........mm....MM
        .........MMMMMll
        ........Mlllllll
        ........mMMMMMMM
        ........Mmmmmmmm
        ........MlMMMMMM
        ........mmmmmmmm
        .........MMMMMMM
        ..........MMMMMM
        ...........mmmmm
        """,
    ),
    "scarf": _half(
        18,
        """
        .......MMMMMMMMM
        ......MlllMMllll
        .....MllMMMMMMMM
        .....MMMmmmmMMMM
        .....mmmllllmmmm
        .....MMllMMMlmmM
        .....MMMMMMMMMMM
        .....MmmmmmmmmMM
        .....mmlllllllmm
        ......MMMMMMMMMM
        ......mmMMMMMMMM
        .......mmmmmmmmm
        """,
    ),
}
