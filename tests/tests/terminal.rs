//! What a user sees who sits at a terminal.

use std::process::Command;

use outrigger_tests::emulator::{binary, controller, export};
use outrigger_tests::place::Place;
use outrigger_tests::terminal::Terminal;

/// A start at a terminal says that the socket is there, and nothing else. What is logged is plain text.
#[test]
fn a_start_says_one_line() {
    for level in ["warn", "debug"] {
        let place = Place::new();
        let socket = place.path("lsi.sock");
        let mut command = Command::new(binary());
        command
            .args(controller("lsi0", &[place.image("disk.img", &[0; 512])]))
            .args(export("lsi0", &socket))
            .args(["--log", level]);
        let mut terminal = Terminal::new(80);
        let mut child = terminal.start(command);
        let listening = format!("listening on {}\n", socket.display());
        let said = terminal.read_until(|said| said.replace("\r\n", "\n").ends_with(&listening));
        child.kill().unwrap();
        child.wait().unwrap();
        if level == "warn" {
            assert_eq!(said, listening);
        }
        assert!(said.ends_with(&listening), "{said}");
        assert!(!said.contains('\u{1b}') && !said.contains("ansi"), "{said}");
    }
}

/// Help fits into 80 columns, broken between words only: each option's keys stand there whole.
#[test]
fn help_fits_a_terminal() {
    let programs = [binary(), binary().with_file_name("outrigger")];
    for (program, arguments) in [
        (&programs[0], &["-h"][..]),
        (&programs[0], &["--help"]),
        (&programs[1], &["-h"]),
        (&programs[1], &["stats", "-h"]),
        (&programs[1], &["stats", "--help"]),
    ] {
        for columns in [80, 200] {
            let mut command = Command::new(program);
            command.args(arguments);
            let help = Terminal::new(columns).run(command);
            assert!(help.contains("Usage:"), "{help}");
            if program == &programs[0] {
                for key in [
                    "driver=file,node-name=NAME,filename=PATH\n",
                    "[,werror=report|ignore|enospc|stop|auto]",
                    "      --device lsi53c895a,id=lsi0 \\\n",
                    "    --blockdev driver=file,node-name=file0,filename=disk.qcow2,cache.direct=on\n",
                ] {
                    assert!(help.contains(key), "{key}:\n{help}");
                }
            }
        }
    }
}
