// Reads a stream as a browser does and prints a line for each frame, until the server says stop.
import { EventSource } from "eventsource";

const source = new EventSource(process.argv[2]);
source.onmessage = ({ data, lastEventId }) => {
  console.log(JSON.stringify({ id: lastEventId, data }));
};
source.onerror = () => {
  // Closed for good: it will not come back. Else it is about to.
  if (source.readyState === EventSource.CLOSED) process.exit(0);
};
