// What the kernel sends: messages of the openvswitch module, of the connection tracker, and what is in them.

import DpifNetlink

@Sendable func fuzzNetlink(_ bytes: [UInt8]) { MessageReading.readAll(bytes) }
