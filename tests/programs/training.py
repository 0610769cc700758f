"""A training loop: all of its state is in memory until the end. training.py RESULT STEPS GO: the last step waits for the file GO."""
import os
import random
import sys
import time

result, steps, go = sys.argv[1], int(sys.argv[2]), sys.argv[3]
rng = random.Random(7)
weights = [rng.random() for _ in range(2000)]
for step in range(steps):
    while step == steps - 1 and not os.path.exists(go):
        time.sleep(0.01)
    due = time.monotonic() + 0.01
    for i in range(0, len(weights), 7):
        weights[i] = weights[i] * 3.9 * (1 - weights[i]) if step % 5 else rng.random()
    print(step, flush=True)
    rest = due - time.monotonic()
    if rest > 0:
        time.sleep(rest)
with open(result, 'w') as file:
    file.write(repr(sum(weights)))
