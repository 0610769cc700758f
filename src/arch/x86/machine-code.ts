/**
 * The machine code that quicksave brings into a task: assembled from `machine-code.S`, which says what each routine does
 * and how its state block is laid out. A test assembles the source again and compares every byte and label.
 */

const assembled = Buffer.from(
  [
    'cd804c89fbeb170f05488bbba8000000488bb3b0000000b80b0000000f05bf02000000488db3a000000031d241ba0800',
    '0000b80e0000000f054889dc415f415e415d415c5d5b415b415a4159415858595a5e5f48cf0f058bbbac000000c783ac',
    '000000ffffffffb8030000000f058bbba8000000c783a8000000ffffffffb8030000000f05488b8bc80000004885c974',
    '8d488bbbd0000000488bb3d8000000488b9be0000000b80b000000ffe18bbbac000000c783ac000000ffffffffb80300',
    '00000f058bbba8000000488db3c0000000ba010000004531d24531c04531c9b82d0000000f0583f8fc74d983f8010f85',
    '63ffffff4c8d35770000004c8ba3b8000000448babb00000004585ed7461498b0424480fbaf020722e498b7c2408498b',
    '742410498b5424184d8b5424204d8b4424284d8b4c24300f0549894424384983c44041ffcdebc24989df418b5c240841',
    '8b4c2410418b542418418b742420418b7c2428418b6c2430cd804c89fbebca41ffe68bbba8000000488db3c0000000ba',
    '0100000041ba004000004531c04531c9b82c0000000f05e928ffffffbf0047000031f631d24531d24531c0b838000000',
    '0f0585c0742c781e4189c54489ef31f6ba000000404531d2b83d0000000f0583f8fc74e7eb9c4863c0488983e8000000',
    'eb90b8700000000f0531ffbeffffffffba02000000b8b40100000f05bf0006000031f631d24531d24531c0b838000000',
    '0f0585c0741c4863c0488983e800000031ffb83c0000000f05b8220000000f05ebf7bf01000000b8e70000000f05ebf2',
  ].join(''),
  'hex',
);

/** All routines, position independent. */
export const machineCode: Uint8Array = assembled;

/** Where each routine begins, in bytes from the start of {@link machineCode}. */
export const routines = {
  call_i386: 0x0,
  call_unmap_home: 0x7,
  call_once: 0x1c,
  go_home: 0x1e,
  call_close_home: 0x55,
  end_of_home: 0x55,
  agent: 0xad,
  snapshot: 0x19c,
  hold: 0x229,
  leave: 0x232,
  end_of_agent: 0x240,
} as const;

/** The part that the bootstrap needs: one call, the unmapping of the agent if it is to go, then home. Small enough for the unused end of a vDSO page. */
export const homeCode: Uint8Array = assembled.subarray(0, routines.end_of_home);

/** Bytes of one task's state block. */
export const stateBlockSize = 0x100;

/** Offsets in a state block. */
export const stateBlock = {
  registers: 0x00,
  iretFrame: 0x78,
  signalMask: 0xa0,
  doorbell: 0xa8,
  toolEnd: 0xac,
  callCount: 0xb0,
  calls: 0xb8,
  ringByte: 0xc0,
  exitSite: 0xc8,
  exitUnmap: 0xd0,
  exitSize: 0xd8,
  exitBlock: 0xe0,
  snapshot: 0xe8,
} as const;

/** A block for {@link homeCode} alone is the same up to the signal mask, and ends with these. */
export const homeBlock = { unmap: 0xa8, unmapSize: 0xb0 } as const;

export const homeBlockSize = 0xb8;

/** Bytes of one call in a batch: number, six arguments, result. */
export const remoteCallSize = 64;

/** Added to the number of a call of i386, which is made by `int 0x80`. */
export const I386_CALL = 2 ** 32;
