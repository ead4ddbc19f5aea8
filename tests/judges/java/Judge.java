import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.SecureRandom;
import java.security.cert.*;
import java.security.cert.PKIXRevocationChecker.Option;
import java.util.ArrayList;
import java.util.Collection;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;

/**
 * Answers questions about certificates with Java's own path validation, many in one run: reads lines from standard input and
 * writes one line for each.
 *
 * <p>A question: how TAB certificate TAB issuer TAB root TAB where. How is "ocsp" or "ocsp-nonce" (where: the responder's URL),
 * "crl-points" (the distribution points in the certificate; where is not used) or "crl-files" (where: files of CRLs,
 * separated by commas). An answer: good, revoked, unknown or refused, TAB reason or nothing, TAB message.
 */
public final class Judge {
    private static final String UNKNOWN = "Certificate's revocation status is unknown";
    private static final String NONCE = "1.3.6.1.5.5.7.48.1.2";

    /** SEQUENCE of that identifier and an OCTET STRING of 34 octets. */
    private static final byte[] NONCE_HEAD = {0x30, 47, 0x06, 9, 0x2B, 6, 1, 5, 5, 7, 48, 1, 2, 0x04, 34};

    private static CertificateFactory factory;

    public static void main(String[] arguments) throws GeneralSecurityException, IOException {
        factory = CertificateFactory.getInstance("X.509");
        BufferedReader questions = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = questions.readLine(); line != null; line = questions.readLine()) {
            System.out.println("VERDICT\t" + judge(line.split("\t", -1)));
        }
    }

    private static String judge(String[] question) throws GeneralSecurityException, IOException {
        CertPath path = factory.generateCertPath(List.of(certificate(question[1]), certificate(question[2])));
        CertPathValidator validator = CertPathValidator.getInstance("PKIX");
        TrustAnchor anchor = new TrustAnchor(certificate(question[3]), null);
        PKIXParameters parameters = new PKIXParameters(Set.of(anchor));
        PKIXRevocationChecker checker = (PKIXRevocationChecker) validator.getRevocationChecker();
        boolean crl = question[0].startsWith("crl");
        checker.setOptions(
                crl
                        ? EnumSet.of(Option.ONLY_END_ENTITY, Option.NO_FALLBACK, Option.PREFER_CRLS)
                        : EnumSet.of(Option.ONLY_END_ENTITY, Option.NO_FALLBACK));
        if (!crl) {
            checker.setOcspResponder(URI.create(question[4]));
        }
        if (question[0].equals("ocsp-nonce")) {
            checker.setOcspExtensions(List.of(nonce()));
        }
        if (question[0].equals("crl-files")) {
            parameters.addCertStore(CertStore.getInstance("Collection", new CollectionCertStoreParameters(crls(question[4]))));
        }
        parameters.addCertPathChecker(checker);
        return verdict(validator, path, parameters);
    }

    private static String verdict(CertPathValidator validator, CertPath path, PKIXParameters parameters)
            throws GeneralSecurityException {
        try {
            validator.validate(path, parameters);
            return "good\t\t";
        } catch (CertPathValidatorException refusal) {
            if (refusal.getCause() instanceof CertificateRevokedException revoked) {
                return "revoked\t" + revoked.getRevocationReason() + "\t" + revoked.getMessage();
            }
            String message = String.valueOf(refusal.getMessage());
            return (message.equals(UNKNOWN) ? "unknown" : "refused") + "\t\t" + message.replaceAll("\\s+", " ");
        }
    }

    private static X509Certificate certificate(String file) throws GeneralSecurityException, IOException {
        return (X509Certificate) factory.generateCertificate(new ByteArrayInputStream(Files.readAllBytes(Path.of(file))));
    }

    private static Collection<CRL> crls(String files) throws GeneralSecurityException, IOException {
        Collection<CRL> found = new ArrayList<>();
        for (String file : files.split(",")) {
            found.add(factory.generateCRL(new ByteArrayInputStream(Files.readAllBytes(Path.of(file)))));
        }
        return found;
    }

    /** A nonce of 32 octets as RFC 9654 asks for; Java sends none of its own accord. */
    private static java.security.cert.Extension nonce() {
        byte[] value = new byte[34];
        new SecureRandom().nextBytes(value);
        value[0] = 4; // OCTET STRING
        value[1] = 32;
        return new java.security.cert.Extension() {
            @Override
            public String getId() {
                return NONCE;
            }

            @Override
            public boolean isCritical() {
                return false;
            }

            @Override
            public byte[] getValue() {
                return value.clone();
            }

            @Override
            public void encode(OutputStream out) throws IOException {
                out.write(NONCE_HEAD);
                out.write(value);
            }
        };
    }
}
