package stroke

// styles are the ways of writing each digit, as people of different schools do: paths in the notation of SVG (M moves,
// L draws a line, C a cubic Bézier curve), 100 high, y downwards.
var styles = [10][]string{
	0: {
		"M30 0 C10 0 2 25 2 50 C2 78 12 100 30 100 C48 100 58 75 58 50 C58 22 48 0 30 0",         // oval
		"M42 6 C26 -4 6 14 4 48 C2 80 14 100 30 100 C50 99 60 72 57 42 C54 14 44 2 28 4",         // ends past its start
		"M35 0 C12 0 0 22 0 50 C0 78 14 100 36 100 C60 100 72 78 72 50 C72 22 58 0 35 0",         // round
		"M40 2 C20 0 4 30 4 58 C4 86 18 100 30 100 C48 100 58 70 58 46 C58 24 52 10 42 4 L34 10", // with a tick at its end
	},
	1: {
		"M10 0 L10 100",                              // a stick
		"M0 24 L22 0 L22 100",                        // with a flag
		"M4 22 L26 0 L26 100 M4 100 L48 100",         // with a flag and a foot
		"M14 0 C11 33 9 66 8 100",                    // a slightly bent stick
		"M2 14 C10 12 16 6 20 0 C20 34 19 66 19 100", // with a short curved flag
	},
	2: {
		"M4 25 C6 5 20 0 32 0 C50 0 58 14 56 30 C53 52 20 75 2 100 L60 100",                              // plain
		"M6 22 C12 4 26 0 36 2 C54 6 56 26 46 44 C34 66 16 84 8 92 C0 98 4 84 16 86 C32 88 40 102 62 94", // with a loop
		"M4 18 C16 0 50 -6 54 20 C57 45 26 72 4 98 C24 92 40 96 60 100",                                  // with a swung foot
		"M2 12 C20 -4 52 -2 52 24 C52 50 30 70 2 100 M2 100 L58 98",                                      // in two strokes
	},
	3: {
		"M4 12 C16 -2 52 -6 52 22 C52 42 34 48 22 48 C40 48 58 54 57 74 C56 102 18 106 2 88",                  // round
		"M4 0 L52 0 L24 40 C46 38 58 52 56 72 C54 102 16 106 2 88",                                            // with a flat top
		"M6 8 C24 -6 50 2 48 22 C46 38 30 46 18 49 C42 48 56 60 52 78 C47 100 20 104 4 94",                    // narrow
		"M6 6 C20 -4 46 0 44 20 C42 36 26 44 16 46 C26 40 34 46 24 52 C48 50 58 66 52 82 C44 102 16 102 2 92", // with a small loop in the middle
	},
	4: {
		"M10 4 L4 56 L58 54 M44 8 L42 100",                                   // open
		"M42 100 L42 0 L0 66 L60 66",                                         // closed, in one stroke
		"M38 0 L2 64 L60 62 M40 2 L42 100",                                   // closed, in two
		"M6 2 C2 30 0 50 14 54 C30 58 44 50 50 38 M54 0 C52 30 50 70 48 100", // open and curved
		"M16 0 C12 20 6 40 4 58 L62 56 M42 34 C42 56 40 78 38 100",           // open, with a short stem
	},
	5: {
		"M50 2 L12 2 L8 42 C24 34 56 36 56 68 C56 102 18 106 2 90",                     // in one stroke
		"M12 4 L8 44 C26 34 58 40 55 70 C52 102 16 106 2 92 M12 4 L54 0",               // with the hat drawn last
		"M52 0 C36 4 22 2 14 4 C12 18 8 32 8 44 C30 36 52 46 52 66 C52 92 28 104 4 98", // curved
		"M48 0 L16 2 L10 40 C28 38 50 48 48 70 C46 88 28 98 6 100",                     // slim
	},
	6: {
		"M44 2 C22 14 4 44 4 72 C4 94 16 100 30 100 C48 100 56 86 54 72 C52 56 38 50 28 52 C14 54 6 66 6 78", // round
		"M36 0 C16 24 2 52 6 78 C10 104 50 104 52 78 C54 54 24 50 8 72",                                      // open belly
		"M30 0 C20 25 6 60 6 78 C6 98 22 100 32 100 C48 98 54 82 46 70 C38 60 20 62 8 80",                    // small belly
		"M52 4 C24 6 4 36 4 68 C4 90 14 100 30 100 C46 100 56 90 54 74 C52 58 36 54 26 58 C14 62 8 72 8 80",  // with a bent neck
	},
	7: {
		"M2 4 L56 4 C44 34 28 66 22 100",               // plain
		"M2 4 L56 4 C44 34 28 66 22 100 M14 52 L52 50", // with a bar
		"M4 16 L6 2 L58 2 L22 100",                     // with a serif
		"M4 16 L6 2 L58 2 L22 100 M16 50 L54 48",       // with a serif and a bar
		"M0 6 C20 10 40 6 56 2 C50 30 30 60 26 100",    // curved
	},
	8: {
		"M48 14 C40 -4 8 -4 8 20 C8 44 54 50 54 76 C54 106 4 106 4 76 C4 54 44 44 50 20 C50 16 49 14 46 10",   // in one stroke
		"M30 0 C10 0 8 44 30 46 C52 44 50 0 30 0 M30 46 C-2 48 -2 100 30 100 C62 100 60 48 30 46",             // two rings
		"M52 8 C36 -4 10 2 12 22 C14 42 52 56 52 78 C52 104 8 104 6 80 C6 56 46 44 54 10",                     // open at the top
		"M30 2 C14 2 10 20 14 30 C20 46 50 54 48 80 C46 102 12 102 10 80 C10 58 42 48 46 28 C48 12 42 2 30 2", // narrow
	},
	9: {
		"M52 22 C46 -6 4 -4 4 28 C4 56 44 58 52 26 C54 50 52 76 50 100",                      // with a straight stem
		"M50 24 C46 -4 6 -6 4 26 C2 52 44 60 52 26 C56 62 48 98 10 98",                       // with a tail
		"M52 10 C34 -6 4 4 4 30 C6 54 40 50 50 14 L44 100",                                   // with a slanted stem
		"M28 0 C8 0 2 14 4 28 C6 48 32 50 42 38 C52 24 44 0 28 0 M47 22 C46 50 42 76 34 100", // ring and stem
	},
}
