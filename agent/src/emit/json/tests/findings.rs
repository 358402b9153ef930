//! Lines of `list`.

use super::*;

fn finding(status: Status) -> Finding {
    let record = sample::http();
    let library = sample::library(&record);
    let Record { process, container, .. } = record;
    let file = Some(FileKey::Inode { device: 0x1b, inode: 0x5e });
    Finding { process, container, library, status, file }
}

#[track_caller]
fn found(finding: Finding) -> Value {
    let mut out = Vec::new();
    finding::write(&[finding], &mut out).unwrap();
    read(&String::from_utf8(out).unwrap())
}

#[test]
fn a_library_that_is_hooked() {
    let later = Site { offset: 4, class: Class::Emulated };
    let probe = |symbol, method, site| Probe {
        symbol,
        function: Function::Read,
        offset: 0x3c0,
        method,
        site,
        places: Places::default(),
    };
    let probes = vec![
        probe("SSL_read", Method::Dynsym, Site::PLAIN),
        probe("SSL_write", Method::Symtab, later),
        probe("ssl_read_internal", Method::Callee, Site { offset: 0, ..later }),
    ];
    let expect = json!({
        "schema": "tlstap/v1",
        "type": "library",
        "process": {"pid": 41, "command": "curl", "executable": {"path": "/usr/bin/curl"}},
        "container": {
            "id": "0123456789abcdef".repeat(4),
            "name": "web",
            "runtime": "docker",
            "image": {"name": "web:1"},
        },
        "tls": {
            "library": "openssl",
            "version": "3.0.22",
            "path": "/usr/lib/x86_64-linux-gnu/libssl.so.3",
        },
        "status": "hooked",
        "probes": [
            {"symbol": "SSL_read", "method": "dynsym",
             "sites": [{"offset": 0, "file_offset": 0x3c0, "class": "stepped"}]},
            {"symbol": "SSL_write", "method": "symtab",
             "sites": [{"offset": 4, "file_offset": 0x3c4, "class": "emulated"}]},
            {"symbol": "ssl_read_internal", "method": "callee",
             "sites": [{"offset": 0, "file_offset": 0x3c0, "class": "emulated"}]},
        ],
        "file": {"key": "1b:5e"},
    });
    assert_eq!(found(finding(Status::Hooked(probes))), expect);
    for class in [Class::Emulated, Class::Stepped] {
        let documented = format!("| `{}` |", class.as_str());
        assert!(OUTPUT.contains(&documented), "{class:?} is not in docs/output.md");
    }
}

#[test]
fn libraries_skipped_for_every_reason() {
    let reasons = [
        Reason::Permission,
        Reason::Unreadable,
        Reason::Architecture,
        Reason::Stripped,
        Reason::UnsupportedLibrary,
        Reason::Java,
        Reason::Erlang,
        Reason::AttachFailed,
        Reason::Unsafe,
        Reason::UnsafeKernel,
        Reason::Changed,
    ];
    for reason in reasons {
        let value = found(finding(Status::Skipped(reason)));
        assert_eq!(value["status"], "skipped");
        assert_eq!(value["reason"], reason.as_str());
        assert_eq!(value.get("probes"), None, "{value}");
        // A word for users to look up.
        let documented = format!("| `{reason}` |");
        assert!(OUTPUT.contains(&documented), "{reason} is not in docs/output.md");
    }
    let unseen = Finding {
        container: None,
        library: None,
        file: None,
        ..finding(Status::Skipped(Reason::Permission))
    };
    let expect = json!({
        "schema": "tlstap/v1",
        "type": "library",
        "process": {"pid": 41, "command": "curl", "executable": {"path": "/usr/bin/curl"}},
        "status": "skipped",
        "reason": "permission",
    });
    assert_eq!(found(unseen), expect);
}
