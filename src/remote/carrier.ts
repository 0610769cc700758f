/** What each way to another host can do. */
import type { ImagePipe } from './image-pipe.ts';

export interface Carrier {
  /**
   * Carries the image out of the pipe to where it belongs. It appears there under its name when it is whole, or never. `onReady` is called
   * when that end can take it. False: it was not to be kept, and nothing of it is left. Rejects with QuicksaveError.
   */
  readonly put: (pipe: ImagePipe, onReady: () => void) => Promise<boolean>;
  /** Carries the image into the pipe. `onReady` is called when it is known to be there. Rejects with QuicksaveError. */
  readonly get: (pipe: ImagePipe, onReady: () => void) => Promise<void>;
}
