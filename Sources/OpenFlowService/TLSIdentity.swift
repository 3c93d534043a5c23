// What OpenFlow connections over TLS show to their peers, and by what they know them: a private key, a certificate, and the
// certificates of authorities (the SSL table, or the command line). Files are read again when they have changed, so that keys can be
// replaced under the running daemon.

import Glibc
import NIOCore
import NIOSSL
import Vlog

/// The files that TLS needs.
public struct TLSSettings: Hashable, Sendable {
    /// Paths of PEM files; nil: not configured.
    public var privateKey: String?
    public var certificate: String?
    /// `none`: peers are not verified.
    public var caCertificate: String?
    /// Take the authority's certificate from the first peer when the file is not there yet.
    public var bootstraps = false

    public init() {}
}

/// Why a TLS connection cannot even be tried.
struct TLSProblem: Error {
    let text: String
}

/// The daemon's side of TLS, shared by all bridges. Confined to the event loop.
public final class TLSIdentity {
    private static let log = Vlog.module("stream_ssl")
    public var settings = TLSSettings()

    /// What a context was made from: it is stale when any of it has changed.
    private struct Origin: Hashable {
        let settings: TLSSettings
        /// Modification times and sizes of the files.
        let files: [[Int]]
    }
    private var cached: [Bool: (origin: Origin, context: NIOSSLContext)] = [:]

    public init() {}

    private static func stamp(_ path: String?) -> [Int] {
        var info = stat()
        guard let path, stat(path, &info) == 0 else { return [] }
        return [Int(info.st_mtim.tv_sec), Int(info.st_mtim.tv_nsec), Int(info.st_size)]
    }

    private var origin: Origin {
        Origin(settings: settings, files: [settings.privateKey, settings.certificate, settings.caCertificate].map(Self.stamp))
    }

    /// The authority's certificate is still to come from a peer.
    private var isBootstrapping: Bool {
        settings.bootstraps && Self.stamp(settings.caCertificate).isEmpty && settings.caCertificate != nil
    }

    private func context(isServer: Bool) throws(TLSProblem) -> NIOSSLContext {
        let origin = origin
        if let known = cached[isServer], known.origin == origin { return known.context }
        guard let key = settings.privateKey else { throw Self.missing("Private key") }
        guard let certificate = settings.certificate else { throw Self.missing("Certificate") }
        guard let authority = settings.caCertificate else { throw Self.missing("CA certificate") }
        do {
            let chain = try NIOSSLCertificate.fromPEMFile(certificate).map { NIOSSLCertificateSource.certificate($0) }
            let secret = NIOSSLPrivateKeySource.privateKey(try NIOSSLPrivateKey(file: key, format: .pem))
            var configuration =
                isServer
                ? TLSConfiguration.makeServerConfiguration(certificateChain: chain, privateKey: secret)
                : TLSConfiguration.makeClientConfiguration()
            configuration.certificateChain = chain
            configuration.privateKey = secret
            configuration.minimumTLSVersion = .tlsv12
            if authority == "none" || isBootstrapping {
                configuration.certificateVerification = .none
            } else {
                // Peers are known by who signed for them, whatever they are called.
                configuration.certificateVerification = .noHostnameVerification
                configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(authority))
            }
            let context = try NIOSSLContext(configuration: configuration)
            cached[isServer] = (origin, context)
            return context
        } catch {
            Self.log.err("could not load \(key), \(certificate) or \(authority): \(error)")
            throw TLSProblem(text: "Protocol not available")
        }
    }

    private static func missing(_ what: String) -> TLSProblem {
        log.err("\(what) must be configured to use SSL")
        return TLSProblem(text: "Protocol not available")
    }

    /// Whether a connection could be made now. Throws what to tell the database.
    func check() throws(TLSProblem) { _ = try context(isServer: false) }

    /// Has a channel that connects speak TLS.
    func protectClient(_ channel: any Channel) throws {
        let context = try context(isServer: false)
        guard isBootstrapping, let path = settings.caCertificate else {
            try channel.pipeline.syncOperations.addHandler(NIOSSLClientHandler(context: context, serverHostname: nil))
            return
        }
        let bootstrap: NIOSSLCustomVerificationCallback = { chain, promise in
            // The connection is given up, and the next one verifies.
            Self.save(chain, to: path)
            promise.succeed(.failed)
        }
        let handler = try NIOSSLClientHandler(context: context, serverHostname: nil, customVerificationCallback: bootstrap)
        try channel.pipeline.syncOperations.addHandler(handler)
    }

    /// Has a channel that was accepted speak TLS.
    func protectServer(_ channel: any Channel) throws {
        try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: try context(isServer: true)))
    }

    /// Whether a channel was made to speak TLS.
    static func protects(_ channel: any Channel) -> Bool {
        let pipeline = channel.pipeline.syncOperations
        return (try? pipeline.context(handlerType: NIOSSLClientHandler.self)) != nil
            || (try? pipeline.context(handlerType: NIOSSLServerHandler.self)) != nil
    }

    /// Keeps the last certificate of a peer's chain, the authority's, unless somebody else was faster.
    private static func save(_ chain: [NIOSSLCertificate], to path: String) {
        guard let authority = chain.last, let der = try? authority.toDERBytes() else {
            log.err("could not bootstrap CA cert: no certificate presented by peer")
            return
        }
        guard CertificateNames(der)?.isSelfIssued == true else {
            log.err("could not bootstrap CA cert: obtained certificate is not self-signed")
            return
        }
        var text = "-----BEGIN CERTIFICATE-----\n"
        let digits = Base64.encode(der)
        for start in stride(from: 0, to: digits.count, by: 64) {
            text += String(decoding: digits[start..<min(start + 64, digits.count)], as: UTF8.self) + "\n"
        }
        text += "-----END CERTIFICATE-----\n"
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o444)
        guard descriptor >= 0 else {
            log.err("could not bootstrap CA cert: creating \(path) failed: \(String(cString: strerror(errno)))")
            return
        }
        let written = text.withCString { write(descriptor, $0, strlen($0)) }
        close(descriptor)
        if written != text.utf8.count {
            log.err("could not bootstrap CA cert: writing \(path) failed: \(String(cString: strerror(errno)))")
            unlink(path)
        } else {
            log.info("successfully bootstrapped CA cert to \(path)")
        }
    }
}

/// The two names in a certificate (RFC 5280, section 4.1), as they are encoded.
struct CertificateNames {
    private let issuer: ArraySlice<UInt8>
    private let subject: ArraySlice<UInt8>

    /// Who says so is who it is about, as it is of an authority at the top.
    var isSelfIssued: Bool { issuer == subject }

    init?(_ der: [UInt8]) {
        // Certificate, and in it TBSCertificate: version (absent in the first), serial number, algorithm, issuer, validity, subject.
        var outer = der[...]
        guard var certificate = Self.take(&outer)?.content, var fields = Self.take(&certificate)?.content else { return nil }
        if fields.first == 0xa0 { _ = Self.take(&fields) }
        guard Self.take(&fields) != nil, Self.take(&fields) != nil, let issuer = Self.take(&fields)?.content,
            Self.take(&fields) != nil, let subject = Self.take(&fields)?.content
        else { return nil }
        self.issuer = issuer
        self.subject = subject
    }

    /// Takes an element off the front: a tag, a length, so many octets.
    private static func take(_ bytes: inout ArraySlice<UInt8>) -> (tag: UInt8, content: ArraySlice<UInt8>)? {
        guard let tag = bytes.popFirst(), let first = bytes.popFirst() else { return nil }
        var length = Int(first)
        if first & 0x80 != 0 {
            let count = Int(first & 0x7f)
            guard (1...3).contains(count), bytes.count >= count else { return nil }
            length = bytes.prefix(count).reduce(0) { $0 << 8 | Int($1) }
            bytes = bytes.dropFirst(count)
        }
        guard bytes.count >= length else { return nil }
        defer { bytes = bytes.dropFirst(length) }
        return (tag, bytes.prefix(length))
    }
}

/// RFC 4648, section 4.
enum Base64 {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    static func encode(_ bytes: [UInt8]) -> [UInt8] {
        var out: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            let word = group.enumerated().reduce(UInt32(0)) { $0 | UInt32($1.element) << UInt32(16 - 8 * $1.offset) }
            for i in 0..<4 {
                out.append(i <= group.count ? alphabet[Int(word >> UInt32(18 - 6 * i) & 63)] : UInt8(ascii: "="))
            }
        }
        return out
    }
}
