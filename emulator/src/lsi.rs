//! The LSI 53C895A and 53C810 SCSI controllers.
