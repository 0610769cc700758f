import { expect, it } from 'vitest';
import { auxiliaryVector } from '../../../src/linux-cr/initial-stack.ts';
import { sample } from './streams.ts';

const START = 0xffff_0010;
const fields = { ...sample.fields, startStack: START, argStart: START + 64 };

const vectorOn = (...words: number[]): Buffer => {
  const stack = Buffer.alloc(64);
  words.forEach((word, index) => {
    stack.writeUInt32LE(word, index * 4);
  });
  return auxiliaryVector(fields, (address, length) => stack.subarray(address - START, address - START + length));
};

const nothing = Buffer.alloc(8);

it('the auxiliary vector stands behind arguments and environment', () => {
  const vector = vectorOn(2, 0x1000, 0x2000, 0, 0x3000, 0x4000, 0, 6, 4096, 3, 0x8048034, 0, 0, 99);
  expect([0, 4, 8, 12, 16, 20].map((at) => vector.readUInt32LE(at))).toEqual([6, 4096, 3, 0x8048034, 0, 0]);
  expect(vector).toHaveLength(24);
});

it('a program without arguments and environment has one too', () => {
  expect(vectorOn(0, 0, 0, 6, 4096, 0, 0)).toHaveLength(16);
});

it('a stack that was written over has none', () => {
  expect(vectorOn(0xffff_ffff, 0, 0, 6, 4096)).toEqual(nothing);
  expect(vectorOn(1, 0x1000, 0x2000, 0)).toEqual(nothing);
  expect(vectorOn(...Array.from({ length: 16 }, () => 7))).toEqual(nothing);
});

it('a stack that is none is not looked at', () => {
  const look = (): never => {
    throw new Error('somebody looked');
  };
  expect(auxiliaryVector({ ...fields, argStart: START }, look)).toEqual(nothing);
  expect(auxiliaryVector({ ...fields, argStart: 0 }, look)).toEqual(nothing);
  expect(auxiliaryVector({ ...fields, startStack: START + 1 }, look)).toEqual(nothing);
  expect(auxiliaryVector({ ...fields, argStart: START + 2 ** 24 }, look)).toEqual(nothing);
});
